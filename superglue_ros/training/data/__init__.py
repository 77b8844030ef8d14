"""What both networks are trained on: photographs, shapes, their pairs, and pairs' true matches."""
