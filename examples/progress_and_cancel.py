"""Follow a training by its events, and stop it when it is good enough."""

import napari_limn as limn
from napari_limn.events import Improved, Step

run = limn.training_events("a.tif", "a_strokes.tif", limn.TrainSpec(seconds=300))
best = None
for event in run:
    if isinstance(event, Step) and event.step % 100 == 0:
        print(f"step {event.step}: loss {event.loss:.3f}")
    if isinstance(event, Improved):
        best = event.model
        if (best.spec.score or 0) > 0.95:
            break
run.close()  # which cancels it; the best model so far stays
if best is not None:
    best.save("best.limn")
