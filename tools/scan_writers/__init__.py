"""Writers of the formats that scans come in, by each format's description or by another library than reads them."""
