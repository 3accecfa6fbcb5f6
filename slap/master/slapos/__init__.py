"""What the three protocols of SlapOS share: its words for statuses, reports and parameters."""
