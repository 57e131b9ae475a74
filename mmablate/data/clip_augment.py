def flip(x, draws): raise NotImplementedError
def random_resized_crop(x, draws, scale=None): raise NotImplementedError
