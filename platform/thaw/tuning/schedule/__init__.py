"""Schedule: which trials go on, judged by Ray Tune's schedulers."""
