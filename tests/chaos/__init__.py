"""A real service under a seeded schedule of faults, and an auditor of what it says afterwards (`make chaos`)."""
