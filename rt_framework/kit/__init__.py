"""What an author of a plugin may use besides: one page a subject."""
