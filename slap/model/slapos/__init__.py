"""What travels in SlapOS's own form, whichever side speaks."""
