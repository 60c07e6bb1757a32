"""Face age synthesis: the same face at another age.

- `settings`: how a run goes
- `networks`: the generator with its age conditions, and the discriminator
- `frozen`: our recogniser and attribute network as losses
- `classifier`: the age classifier that a run trains first
- `faces`: which faces a step learns from, and the ages it asks for
- `prototypes`: mean faces of ages, which a run begins with
- `losses`, `trainer`: a run; the loop is `train.common.loop`
- `sheets`, `export`: sample sheets, and the weight file
"""
