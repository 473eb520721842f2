"""What must always hold, one file for each invariant, decided without engine code.

The oracle shares the engine's words (model, trace) and none of its logic: it knows every write,
every cut and what a restore really returned, and judges each claim of the engine against that. A
verdict counts what was checked: an invariant that had nothing to check is not judged, never true.
"""
