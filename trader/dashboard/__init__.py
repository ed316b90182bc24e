"""The dashboard: reads, and asks for a stop."""
