"""Parts that one method alone needs."""
