"""What every framework meets: the predictions file, its readers, and known examples of it."""
