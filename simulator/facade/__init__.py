"""Each port over the world, with the same file names as `reference_engine.ports`.

Every call passes one door: there it is traced, delayed, made to fail, or used as the moment at
which something else happens. Behind the door the operation runs on the node that was asked, not
in the engine's own task, so that it goes on when the engine dies and dies when the node does.
"""
