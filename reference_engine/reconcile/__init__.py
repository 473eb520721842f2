"""Two snapshots made one: the host's at Th, put back to the guest's instant Tg.

`freeze` is the table of a guest's states and who must do what in each; `overlay` lays the guest's
pre-images over the host snapshot and says which bytes that changed (R) and which have no content
(the mask); `labels` decides what the result may claim.
"""
