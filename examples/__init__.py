"""Examples of what users bring along; each is loaded by a setting alone and held by a test."""
