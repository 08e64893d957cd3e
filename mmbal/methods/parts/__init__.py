"""Parts of methods, each needed by one method only."""
