"""Pretrained networks without their classifier, cut into layer groups that can be opened one by one."""
