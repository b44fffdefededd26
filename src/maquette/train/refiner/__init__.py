"""Training CLONE's refiner."""
