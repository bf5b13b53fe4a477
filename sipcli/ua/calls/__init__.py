"""Calls as one awaits them: dialled, answered, held, transferred, joined, reported."""
