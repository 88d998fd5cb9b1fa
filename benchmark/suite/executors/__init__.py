"""Who carries tasks out: processes of this machine, or a Ray cluster and what its nodes do before and after."""
