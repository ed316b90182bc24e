"""Results as text, HTML and CSV."""
