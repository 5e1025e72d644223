"""How long histories take to match on DeepFlow's case, and how well methods sample on a small one."""
