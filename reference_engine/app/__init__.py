"""Where ports meet real adapters: configuration, composition and the command line."""
