"""The suite; folders by the question that they answer, see docs/ARCHITECTURE.md."""
