"""Where does more load stop helping, and what is expected beyond?"""
