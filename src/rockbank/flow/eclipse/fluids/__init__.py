"""A deck's liquids, its saturation functions, how they lie at first, and how pores give way to them."""
