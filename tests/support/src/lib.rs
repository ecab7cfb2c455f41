//! What the tests and the demo share: the rig, the cluster's objects, and witnesses that do not trust Weir.
