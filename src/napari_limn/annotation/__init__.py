"""What the person painted: classes, where the paint is, what is held out, which patches to train on. No torch."""
