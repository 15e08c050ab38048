print("from the module")
