"""Python text to facts: finding files, reading and parsing them, and what their comments say."""
