"""Where does one request's time go?"""
