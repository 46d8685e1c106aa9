"""Rules of manifests: functions that are given all documents of an installation and yield what is wrong with them."""
