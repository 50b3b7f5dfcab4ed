"""What another policy would decide: grams moved by platform."""
