"""BraTS 2018 and 2020: multimodal MR scans of brain tumours, of which every subject may lack some sequences."""
