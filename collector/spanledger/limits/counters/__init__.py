"""What is used and held in every bucket: in this process, or in Redis for several collectors."""
