"""Many jobs at once: which of them train as one stack, how, and what has become of each."""
