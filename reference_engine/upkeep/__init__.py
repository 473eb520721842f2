"""Looking after repositories: mending what is damaged, and keeping a second one beside the first.

Care adds and never removes. What takes the place of damaged bytes does so only where a sound copy
was at hand, and the damaged bytes go to `quarantine/`. Only content that is wrong counts as damage:
a store that fails says nothing about what it holds.
"""
