"""Devices reached over SSH: files, jobs that outlive the connection, and what they found out."""
