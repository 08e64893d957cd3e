"""From files of sound, picture and text to arrays."""
