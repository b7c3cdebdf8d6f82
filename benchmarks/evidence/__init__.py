"""The study behind docs/evidence.md: do people agree with the student's choice, and does it train a better student?"""
