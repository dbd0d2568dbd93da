"""What `tutelage demo` runs on: real addresses as traffic, and a stand-in teacher."""
