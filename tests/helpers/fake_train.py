"""The Train widget's view without Qt: what it shows, as lists."""

from __future__ import annotations

from napari_limn._napari.training.train_view import NEW, TrainChoices

CHOICES = TrainChoices(
    images={"1": "cells"}, labels="strokes", untouched=False, origin=NEW, seconds=2, zero="unlabelled", dims=2,
    objects=False, preset="fast", device="cpu",
)  # fmt: skip


class FakeView:
    """What the widget shows, as lists."""

    def __init__(self):
        self.form, self.legend = CHOICES, None
        self.findings = self.curve = self
        self.shown, self.losses, self.scores, self.fixed, self.lit = (), [], [], {}, 0
        self.live_events, self.live_on, self.begun, self.following, self.checks = [], None, [], 0, 0
        self.run = lambda spec, origin: iter(())

    def choices(self):
        return self.form

    preview = "preview"

    def needed_layers(self):
        return ["image", "strokes"]

    def begin(self, zero):
        self.begun.append(zero)

    def training(self, spec, origin):
        return self.run(spec, origin)

    live_training = training

    def live_event(self, event):
        self.live_events.append(event)

    def live_ended(self):
        self.live_events.clear()

    def set_live(self, *, on):
        self.live_on = on

    def follow_classes(self):
        self.following += 1

    def model_kept(self):
        self.lit += 1

    def fix_form(self, **values):
        self.fixed |= values

    def fix_layers(self, remedy):
        self.fixed["layers"] = remedy

    def check_soon(self):
        self.checks += 1

    # ---- findings and curve --------------------------------------------------------------------------------------
    def show_all(self, findings):
        self.shown = tuple(findings)

    def add(self, finding):
        self.shown += (finding,)

    def stops(self, sentence):
        return any(f.stops and f.sentence == sentence for f in self.shown)

    def add_loss(self, seconds, loss):
        self.losses.append((seconds, loss))

    def add_score(self, seconds, score):
        self.scores.append((seconds, score))
