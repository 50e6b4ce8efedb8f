//! What runs inside: the agent and the first script.
