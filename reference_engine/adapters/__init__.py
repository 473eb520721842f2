"""The real world behind each port. Adapters carry out and report; they decide nothing."""
