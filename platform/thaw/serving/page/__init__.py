"""The page at `/`: for people who want to show a picture to a model. Everything that it needs is served from here."""
