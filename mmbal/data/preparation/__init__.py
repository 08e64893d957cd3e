"""From a list of clips or a feature file to a store."""
