def read_saliency(folder): return "none"
def write_saliency(folder, **k): pass
