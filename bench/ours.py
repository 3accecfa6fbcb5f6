class Ours: pass
def check_installed(): pass
