"""Answers requests from the teacher or the student."""
