"""A corpus of clips: each is tracked once, by processes of one machine, shards of a cluster or Ray's actors."""
