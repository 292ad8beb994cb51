"""Is this machine able to run? ``examine.CHECKS`` lists what is looked at; a module here per kind of look."""
