"""What is proven about the hardware: properties by subject, all of them in :data:`~.catalogue.PROPERTIES`."""
